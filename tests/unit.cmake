# One program per module, linked with its own layer and those below it only.

file(GLOB unit_sources CONFIGURE_DEPENDS ${here}/unit/*/test_*.c)
if(NOT unit_sources)
    return()
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
pkg_check_modules(JANSSON IMPORTED_TARGET jansson)

file(GLOB support_sources CONFIGURE_DEPENDS ${here}/unit/*.c)
if(support_sources)
    add_library(unit_support STATIC EXCLUDE_FROM_ALL ${support_sources})
    target_compile_options(unit_support PRIVATE -UNDEBUG)
    target_include_directories(unit_support PUBLIC ${here}/unit)
    target_link_libraries(unit_support
        PRIVATE peal_flags PUBLIC PkgConfig::CMOCKA)
    if(TARGET peal_base)
        target_link_libraries(unit_support PUBLIC peal_base)
    endif()
endif()

foreach(source IN LISTS unit_sources)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(GET folder FILENAME layer)
    cmake_path(GET source STEM stem)
    string(REGEX REPLACE "^test_" "" module ${stem})
    if(NOT TARGET peal_${layer})
        message(STATUS "no sources in src/${layer} yet: ${layer}/${stem}.c")
        continue()
    endif()
    set(target unit_${layer}_${module})
    peal_test_program(${target} ${source})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${stem}
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/unit/${layer})
    target_include_directories(${target} PRIVATE ${here}/unit)
    if(TARGET unit_support)
        target_link_libraries(${target} PRIVATE unit_support)
    endif()
    target_link_libraries(${target} PRIVATE
        peal_${layer} PkgConfig::CMOCKA m)
    # The oracle of the JSON scanner.
    if(TARGET PkgConfig::JANSSON)
        target_link_libraries(${target} PRIVATE PkgConfig::JANSSON)
    endif()
    peal_test(unit.${layer}.${module} unit $<TARGET_FILE:${target}>)
endforeach()
